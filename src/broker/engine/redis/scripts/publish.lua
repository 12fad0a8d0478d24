-- Numbers a batch of events, keeps it as one entry, and sends it to every node that follows the topic.
-- KEYS: topic, events, sizes
-- ARGV: channel, known epoch, known seq, known token, run in which it was known, run of this Redis, name of a new epoch, token,
--   events in the batch, time of the newest, events
-- Returns: 'ok', epoch, first seq, earliest time, token of the entry before; or 'missing'
local function whole(number) return string.format('%.0f', number) end
local NONE = '0000000000000000'

local topic = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'token', 'ts', 'keep', 'history_bytes', 'events', 'bytes', 'runs')
local epoch, seq, previous, earliest = topic[1], tonumber(topic[2]), topic[3], tonumber(topic[4])
local keep, max_bytes, events, bytes = tonumber(topic[5]), tonumber(topic[6]), tonumber(topic[7]), tonumber(topic[8])
local runs = topic[9] or ''
if not epoch then return {'missing'} end

-- The fence: whether Redis lost an entry that the publishing node has seen.
local function has_lost(known, token)
  if seq <= known then return seq < known or previous ~= token end
  local found = redis.call('XRANGE', KEYS[2], whole(known), whole(known))[1]
  if found then return string.match(found[2][2], '^%S+ %S+ %S+ %S+ (%S+)') ~= token end
  if known > seq - events then return true end
  -- It was trimmed. Events that the node knows are lost if a later run of Redis went on before them.
  if ARGV[5] == ARGV[6] then return false end
  local at = string.find(runs, ARGV[5], 1, true)
  if not at then return true end
  local before = string.match(runs, '^%x+:%d+ %x+:(%d+)', at)
  return before and tonumber(before) < known
end
local known = tonumber(ARGV[3])
if known > 0 and ARGV[2] == epoch and has_lost(known, ARGV[4]) then
  epoch, seq, previous, events, bytes, runs = ARGV[7], 0, NONE, 0, 0, ''
  redis.call('DEL', KEYS[2], KEYS[3])
end

-- The runs of Redis that numbered events of the topic, each with the seq before its first one; the last eight or so.
if not string.find(runs, ARGV[6], 1, true) then
  runs = runs .. ARGV[6] .. ':' .. whole(seq) .. ' '
  while string.len(runs) > 256 do runs = string.gsub(runs, '^%S+ ', '', 1) end
  redis.call('HSET', KEYS[1], 'runs', runs)
end

local count, size = tonumber(ARGV[9]), string.len(ARGV[11])
local last = whole(seq + count)
local header = table.concat({'e', epoch, whole(seq + 1), ARGV[9], ARGV[8], previous, whole(earliest)}, ' ')
local entry = header .. '\n' .. ARGV[11]
redis.call('XADD', KEYS[2], last .. '-' .. ARGV[9], 'e', entry)
redis.call('RPUSH', KEYS[3], ARGV[9] .. ' ' .. size)
events, bytes = events + count, bytes + size

-- Whole entries are evicted, as long as the rest fills the history. The oldest one may be more than that; who reads it counts.
local evicts = false
while events > count do
  local oldest = redis.call('LINDEX', KEYS[3], 0)
  local oldest_count, oldest_size = string.match(oldest, '(%d+) (%d+)')
  if events - oldest_count < keep and bytes - oldest_size < max_bytes then break end
  redis.call('LPOP', KEYS[3])
  events, bytes, evicts = events - oldest_count, bytes - oldest_size, true
end
if evicts then redis.call('XTRIM', KEYS[2], 'MINID', whole(seq + count - events + 1)) end

local newest = math.max(earliest, tonumber(ARGV[10]))
redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', last, 'token', ARGV[8], 'ts', whole(newest), 'events', whole(events), 'bytes', whole(bytes))
redis.call('PUBLISH', ARGV[1], entry)
return {'ok', epoch, whole(seq + 1), whole(earliest), previous}
