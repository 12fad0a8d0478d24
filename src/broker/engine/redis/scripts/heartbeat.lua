-- Says that a node lives. Returns whether the cluster knew that it did.
-- KEYS: node, all nodes
-- ARGV: id, what GET /nodes shows of it, milliseconds until it counts as dead
local known = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
return known
