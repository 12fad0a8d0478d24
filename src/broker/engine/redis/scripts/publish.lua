-- Numbers a batch of events, keeps it as one entry, and sends it to every node that follows the topic.
-- KEYS: topic, events, sizes
-- ARGV: channel, known epoch, known seq, known token, name of a new epoch, token, events in the batch, time of the newest, events
-- Returns: 'ok', epoch, first seq, earliest time, token of the entry before; or 'missing'
local function whole(number) return string.format('%.0f', number) end
local NONE = '0000000000000000'

local topic = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'token', 'ts', 'keep', 'history_bytes', 'events', 'bytes')
local epoch, seq, previous, earliest = topic[1], tonumber(topic[2]), topic[3], tonumber(topic[4])
local keep, max_bytes, events, bytes = tonumber(topic[5]), tonumber(topic[6]), tonumber(topic[7]), tonumber(topic[8])
if not epoch then return {'missing'} end

-- The fence: whether Redis lost an entry that the publishing node has seen.
local function has_lost(known, token)
  if seq <= known then return seq < known or previous ~= token end
  local found = redis.call('XRANGE', KEYS[2], whole(known), whole(known))[1]
  if found then return string.match(found[2][2], '^%S+ %S+ %S+ %S+ (%S+)') ~= token end
  return known > seq - events
end
local known = tonumber(ARGV[3])
if known > 0 and ARGV[2] == epoch and has_lost(known, ARGV[4]) then
  epoch, seq, previous, events, bytes = ARGV[5], 0, NONE, 0, 0
  redis.call('DEL', KEYS[2], KEYS[3])
end

local count, size = tonumber(ARGV[7]), string.len(ARGV[9])
local last = whole(seq + count)
local header = table.concat({'e', epoch, whole(seq + 1), ARGV[7], ARGV[6], previous, whole(earliest)}, ' ')
local entry = header .. '\n' .. ARGV[9]
redis.call('XADD', KEYS[2], last .. '-' .. ARGV[7], 'e', entry)
redis.call('RPUSH', KEYS[3], ARGV[7] .. ' ' .. size)
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

local newest = math.max(earliest, tonumber(ARGV[8]))
redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', last, 'token', ARGV[6], 'ts', whole(newest), 'events', whole(events), 'bytes', whole(bytes))
redis.call('PUBLISH', ARGV[1], entry)
return {'ok', epoch, whole(seq + 1), whole(earliest), previous}
