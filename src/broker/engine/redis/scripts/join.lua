-- Makes a subscription the owner of its client id. The node of the previous owner, if another one,
-- gets a message, and so do those that follow who is subscribed.
-- KEYS: topic, owners, owned by this node
-- ARGV: topic name, client id, node, connection, since, prefix of the nodes' channels, channel of who is
--   subscribed, order (empty: the newest)
-- Returns: 'ok', order, epoch, seq, token; 'missing'; or 'replaced'
local record = redis.call('GET', KEYS[1])
if not record then return {'missing'} end
local epoch, seq, token = string.match(record, '^(%S+) (%S+) (%S+)')
local owner = redis.call('HGET', KEYS[2], ARGV[2])
local order, node = 0, ARGV[3]
if owner then
  order, node = string.match(owner, '^(%d+) (%S+)')
  order = tonumber(order)
end
local mine = tonumber(ARGV[8])
if not mine then
  -- Also the clock, so that the order outlives the loss of the owners.
  local now = redis.call('TIME')
  mine = math.max(order + 1, now[1] * 1000000 + now[2])
elseif order > mine then
  return {'replaced'}
end
local text = string.format('%.0f', mine)
redis.call('HSET', KEYS[2], ARGV[2], table.concat({text, ARGV[3], ARGV[4], ARGV[5]}, ' '))
redis.call('SADD', KEYS[3], ARGV[1] .. ' ' .. ARGV[2])
redis.call('PUBLISH', ARGV[7], '+ ' .. text .. ' ' .. ARGV[2])
if node ~= ARGV[3] then
  redis.call('PUBLISH', ARGV[6] .. node, table.concat({'replaced', text, ARGV[1], ARGV[2]}, ' '))
end
return {'ok', text, epoch, seq, token}
