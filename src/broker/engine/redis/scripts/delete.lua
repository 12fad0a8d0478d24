-- Deletes a topic, and tells every node that follows it, in order with its events.
-- KEYS: topic, events, sizes, owners, deleted, names of all topics
-- ARGV: name, channel, seconds that the deletion is remembered
-- Returns: 'ok', epoch, seq; or 'missing'
local topic = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
redis.call('SREM', KEYS[6], ARGV[1])
if not topic[1] then return {'missing'} end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('SET', KEYS[5], topic[1], 'EX', ARGV[3])
redis.call('PUBLISH', ARGV[2], 'd ' .. topic[1] .. ' ' .. topic[2] .. '\n')
return {'ok', topic[1], topic[2]}
