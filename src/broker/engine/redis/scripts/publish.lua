-- Numbers a batch of events, keeps it as one entry, and sends it to every node that follows the topic.
-- Where the topic is as the node expects, the node has done all the work: what it sends is stored as it is.
-- Of messages that are idempotent, none is published again that the topic remembers: if there is one, nothing is published.
-- KEYS: topic, events, marks; with idempotent messages also the remembered ids, their order
-- ARGV: channel, expected record or '', record after the batch, id of the entry, oldest seq to keep, entry (without its line if
--   no record is expected), and what counts if the topic is not as expected, in words: known epoch, known seq, known token,
--   run of Redis in which it was known, run of this Redis, name of a new epoch, token, events in the batch, time of the newest;
--   with idempotent messages also the window in milliseconds, and for each its id (16 bytes), and in words: how many messages of
--   the batch come before it, its time
-- Returns: 1 if the topic was as expected; 'missing'; 'ok', epoch, first seq, earliest time, token of the entry before, record;
--   or 'remembered', epoch, and in words for each such message: how many come before it, seq and time of the first
local NONE = '0000000000000000'
local function whole(number) return string.format('%.0f', number) end

local remember
if KEYS[4] then
  local MAX_IDS, AT_ONCE = 10000, 100
  local time = redis.call('TIME')
  local now, window = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[8])
  local function is_over(since) return now - since >= window end

  local ids = {}
  for at = 9, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
  local epoch_now = string.match(redis.call('GET', KEYS[1]) or '', '^%S+')
  if epoch_now and redis.call('HGET', KEYS[4], 'epoch') == epoch_now then
    local answer = {'remembered', epoch_now}
    for at, found in ipairs(redis.call('HMGET', KEYS[4], unpack(ids))) do
      local first, since = string.match(found or '', '^(%S+ %S+) (%S+)$')
      if first and not is_over(since) then
        answer[#answer + 1] = string.match(ARGV[8 + 2 * at], '^%S+') .. ' ' .. first
      end
    end
    if #answer > 2 then return answer end
  end

  local function forget(oldest, count)
    redis.call('HDEL', KEYS[4], unpack(oldest, 1, count))
    redis.call('LTRIM', KEYS[5], count, -1)
  end

  -- Remembers the batch, whose first event is the one after this seq. Called when it is published, so that a Redis that is full
  -- refuses all of it: that may happen only to the first change.
  remember = function(epoch, seq, earliest)
    if redis.call('HGET', KEYS[4], 'epoch') ~= epoch then redis.call('DEL', KEYS[4], KEYS[5]) end
    -- Mostly the oldest one is not over yet, or only as many are as are added now.
    local looked_at = 1
    repeat
      local oldest, over = redis.call('LRANGE', KEYS[5], 0, looked_at - 1), 0
      local found = #oldest > 0 and redis.call('HMGET', KEYS[4], unpack(oldest)) or {}
      while over < #oldest and is_over(string.match(found[over + 1] or '0', '%S+$')) do over = over + 1 end
      if over > 0 then forget(oldest, over) end
      local are_all_over = over == looked_at
      looked_at = math.min(looked_at * 10, AT_ONCE)
    until not are_all_over
    local fields = {'epoch', epoch}
    for at, id in ipairs(ids) do
      local before, micros = string.match(ARGV[8 + 2 * at], '^(%S+) (%S+)$')
      fields[#fields + 1] = id
      fields[#fields + 1] = table.concat({whole(seq + before + 1), whole(math.max(micros, earliest)), whole(now)}, ' ')
    end
    redis.call('HSET', KEYS[4], unpack(fields))
    local excess = redis.call('RPUSH', KEYS[5], unpack(ids)) - MAX_IDS
    if excess > 0 then forget(redis.call('LRANGE', KEYS[5], 0, excess - 1), excess) end
    redis.call('PEXPIRE', KEYS[4], ARGV[8])
    redis.call('PEXPIRE', KEYS[5], ARGV[8])
  end
end

local record
if ARGV[2] == '' then
  record = redis.call('GET', KEYS[1])
else
  record = redis.call('SET', KEYS[1], ARGV[3], 'XX', 'GET')
  if record == ARGV[2] then
    redis.call('XADD', KEYS[2], 'MINID', '~', ARGV[5], ARGV[4], 'e', ARGV[6])
    redis.call('PUBLISH', ARGV[1], ARGV[6])
    if remember then remember(string.match(record, '^(%S+) (%S+) %S+ (%S+)')) end
    return 1
  end
end
if not record then return {'missing'} end

local words = string.gmatch(ARGV[7], '%S+')
local known_epoch, known, known_token, known_run, run, new_epoch, token, count, newest =
  words(), tonumber(words()), words(), words(), words(), words(), words(), words(), words()
local epoch, seq, previous, earliest, bytes, runs, settings, keep, max_bytes =
  string.match(record, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) ((%S+) (%S+).*)$')
seq, bytes = tonumber(seq), tonumber(bytes)

-- The fence: whether Redis lost an entry that the publishing node has seen. Within one run it loses none.
local function has_lost()
  if seq <= known then return seq < known or previous ~= known_token end
  if run == known_run then return false end
  local found = redis.call('XRANGE', KEYS[2], whole(known), whole(known))[1]
  if found then return string.match(found[2][2], '^%S+ %S+ %S+ %S+ (%S+)') ~= known_token end
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  if oldest and tonumber(string.match(oldest[1], '^%d+')) <= known then return true end
  -- It was trimmed. Events that the node knows are lost if a later run of Redis went on before them.
  local at = string.find(runs, known_run, 1, true)
  if not at then return true end
  local before = string.match(runs, '^%x+:%d+,%x+:(%d+)', at)
  return before and tonumber(before) < known
end
if known > 0 and known_epoch == epoch and has_lost() then
  epoch, seq, previous, bytes, runs = new_epoch, 0, NONE, 0, '-'
  redis.call('DEL', KEYS[2], KEYS[3])
end

-- The runs of Redis that numbered events of the topic, each with the seq before its first one; the last eight or so.
if not string.find(runs, run, 1, true) then
  local here = run .. ':' .. whole(seq)
  runs = runs == '-' and here or runs .. ',' .. here
  while string.len(runs) > 256 do runs = string.gsub(runs, '^[^,]+,', '', 1) end
end

local events = string.sub(ARGV[6], (string.find(ARGV[6], '\n', 1, true)))
local last, size = seq + count, string.len(events) - 1
local entry = table.concat({'e', epoch, whole(seq + 1), count, token, previous, earliest}, ' ') .. events
local latest = tonumber(newest) > tonumber(earliest) and newest or earliest

-- The bound in bytes: where the next entry begins is marked 16 times in as many bytes as the history may have. Nodes expect no
-- record where there is a mark to set. The bound in events needs none: an id is the seq of the last event.
local oldest = math.max(last - keep + 1, 0)
local apart = math.max(math.floor(max_bytes / 16), 1)
if math.floor((bytes + size) / apart) > math.floor(bytes / apart) then
  redis.call('RPUSH', KEYS[3], whole(last + 1) .. ' ' .. whole(bytes + size))
  repeat
    local mark_seq, mark_bytes = string.match(redis.call('LINDEX', KEYS[3], 0), '(%d+) (%d+)')
    local evicts = bytes + size - mark_bytes >= tonumber(max_bytes)
    if evicts then
      redis.call('LPOP', KEYS[3])
      oldest = math.max(oldest, tonumber(mark_seq))
    end
  until not evicts
end

record = table.concat({epoch, whole(last), token, latest, whole(bytes + size), runs, settings}, ' ')
redis.call('SET', KEYS[1], record)
redis.call('XADD', KEYS[2], 'MINID', '~', whole(oldest), whole(last) .. '-' .. count, 'e', entry)
redis.call('PUBLISH', ARGV[1], entry)
if remember then remember(epoch, seq, earliest) end
return {'ok', epoch, whole(seq + 1), earliest, previous, record}
