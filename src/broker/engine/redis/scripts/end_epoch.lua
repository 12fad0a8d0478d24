-- Ends an epoch in which Redis lost events, unless another node has ended it already.
-- KEYS: topic, events, marks
-- ARGV: channel, epoch to end, name of the new epoch
-- Returns: the epoch now, or nothing if there is no such topic
local record = redis.call('GET', KEYS[1])
if not record then return false end
local epoch, time, settings = string.match(record, '^(%S+) %S+ %S+ (%S+) %S+ %S+ (.*)$')
if epoch ~= ARGV[2] then return epoch end
redis.call('SET', KEYS[1], table.concat({ARGV[3], 0, '0000000000000000', time, 0, '-', settings}, ' '))
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('PUBLISH', ARGV[1], 'n ' .. ARGV[3] .. '\n')
return ARGV[3]
