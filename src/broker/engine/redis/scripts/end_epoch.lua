-- Ends an epoch in which Redis lost events, unless another node has ended it already.
-- KEYS: topic, events, sizes
-- ARGV: channel, epoch to end, name of the new epoch
-- Returns: the epoch now, or nothing if there is no such topic
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch ~= ARGV[2] then return epoch end
redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'seq', 0, 'token', '0000000000000000', 'events', 0, 'bytes', 0, 'runs', '')
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('PUBLISH', ARGV[1], 'n ' .. ARGV[3] .. '\n')
return ARGV[3]
