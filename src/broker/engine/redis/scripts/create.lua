-- Creates a topic if there is none of its name.
-- KEYS: topic, names of all topics
-- ARGV: name, most topics, topics elsewhere, then the fields of the topic
-- Returns: 'ok', 'exists' or 'limit'
if redis.call('EXISTS', KEYS[1]) == 1 then return 'exists' end
if redis.call('SCARD', KEYS[2]) + tonumber(ARGV[3]) >= tonumber(ARGV[2]) then return 'limit' end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('SADD', KEYS[2], ARGV[1])
return 'ok'
