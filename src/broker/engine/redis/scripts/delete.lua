-- Deletes a topic, and tells every node that follows it, in order with its events.
-- The events stay readable for a moment, for nodes to which they are still under way.
-- KEYS: topic, events, marks, owners, deleted, names of all topics, last events, used, idle topics, ids of idempotent
--   messages, their order
-- ARGV: name, channel, seconds that the deletion is remembered, seconds that the events stay, the only epoch to delete or '',
--   'idle' if it is to be deleted only if nobody uses it
-- Returns: 'ok', epoch, seq; 'used'; or 'missing'
local record = redis.call('GET', KEYS[1]) or ''
local epoch, seq = string.match(record, '^(%S+) (%S+)')
if ARGV[5] ~= '' and epoch ~= ARGV[5] then return {'missing'} end

-- When to look at the topic again; now or earlier if it is idle. By the clock of Redis: a topic that has other events than when
-- it was last looked at was used meanwhile, which counts as now, so it is looked at more often than it may be idle.
local function look_at(now, idle)
  local seen_seq, seen = string.match(redis.call('GET', KEYS[8]) or '', '^(%S+) (%S+)$')
  if seq == seen_seq and redis.call('HLEN', KEYS[4]) == 0 then return seen + idle end
  redis.call('SET', KEYS[8], seq .. string.format(' %.0f', now))
  return now + math.ceil(idle / 4)
end
if ARGV[6] == 'idle' and epoch then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local idle = tonumber(string.match(record, '(%d+)$'))
  local at = idle > 0 and look_at(now, idle)
  if not at then
    redis.call('ZREM', KEYS[9], ARGV[1])
    return {'used'}
  elseif at > now then
    redis.call('ZADD', KEYS[9], string.format('%.0f', at), ARGV[1])
    return {'used'}
  end
end
redis.call('SREM', KEYS[6], ARGV[1])
redis.call('DEL', KEYS[8])
redis.call('ZREM', KEYS[9], ARGV[1])
if not epoch then return {'missing'} end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4], KEYS[7], KEYS[10], KEYS[11])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[7])
  redis.call('EXPIRE', KEYS[7], ARGV[4])
end
redis.call('SET', KEYS[5], epoch .. ' ' .. seq, 'EX', ARGV[3])
redis.call('PUBLISH', ARGV[2], 'd ' .. epoch .. ' ' .. seq .. '\n')
return {'ok', epoch, seq}
