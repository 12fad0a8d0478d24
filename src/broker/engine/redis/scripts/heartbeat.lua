-- Says that a node lives.
-- KEYS: node, all nodes
-- ARGV: id, what GET /nodes shows of it, seconds until it counts as dead
-- Returns: whether the cluster knew that it lives, and whether Redis is full: 1 or 0 each
local added = redis.pcall('SADD', KEYS[2], ARGV[1])
local is_full = type(added) == 'table' and added.err and string.find(added.err, 'OOM', 1, true)
if type(added) == 'table' and not is_full then return added end
-- A Redis that is full refuses the first command of a script that could take memory; those after EXPIRE are carried out.
local known = redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
if is_full then redis.call('SADD', KEYS[2], ARGV[1]) end
return {known, is_full and 1 or 0}
