-- Deletes a topic, and tells every node that follows it, in order with its events.
-- The events stay readable for a moment, for nodes to which they are still under way.
-- KEYS: topic, events, sizes, owners, deleted, names of all topics, last events
-- ARGV: name, channel, seconds that the deletion is remembered, seconds that the events stay, the only epoch to delete or ''
-- Returns: 'ok', epoch, seq; or 'missing'
local topic = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if ARGV[5] ~= '' and topic[1] ~= ARGV[5] then return {'missing'} end
redis.call('SREM', KEYS[6], ARGV[1])
if not topic[1] then return {'missing'} end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4], KEYS[7])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[7])
  redis.call('EXPIRE', KEYS[7], ARGV[4])
end
redis.call('SET', KEYS[5], topic[1] .. ' ' .. topic[2], 'EX', ARGV[3])
redis.call('PUBLISH', ARGV[2], 'd ' .. topic[1] .. ' ' .. topic[2] .. '\n')
return {'ok', topic[1], topic[2]}
