-- Ends the ownership of a client id, unless a newer subscription has it.
-- KEYS: owners, owned by the node, the node
-- ARGV: client id, order; or '*': all of a node that is dead, node, topic name
if ARGV[2] == '*' and redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local owner = redis.call('HGET', KEYS[1], ARGV[1])
local order, node
if owner then order, node = string.match(owner, '^(%d+) (%S+)') end
local is_it = node == ARGV[3] and (order == ARGV[2] or ARGV[2] == '*')
if is_it then redis.call('HDEL', KEYS[1], ARGV[1]) end
if is_it or node ~= ARGV[3] then redis.call('SREM', KEYS[2], ARGV[4] .. ' ' .. ARGV[1]) end
return is_it and 1 or 0
