-- Ends the ownership of a client id, unless a newer subscription has it. Those that follow who is subscribed get a message.
-- KEYS: owners, owned by the node, the node, topic, used
-- ARGV: client id, order; or '*': all of a node that is dead, node, topic name, channel of who is subscribed
if ARGV[2] == '*' and redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local owner = redis.call('HGET', KEYS[1], ARGV[1])
local order, node
if owner then order, node = string.match(owner, '^(%d+) (%S+)') end
local is_it = node == ARGV[3] and (order == ARGV[2] or ARGV[2] == '*')
if is_it then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('PUBLISH', ARGV[5], '- ' .. order .. ' ' .. ARGV[1])
  -- The end of the last subscription is a use of a topic with an idle time.
  if redis.call('HLEN', KEYS[1]) == 0 then
    local seq, idle = string.match(redis.call('GET', KEYS[4]) or '', '^%S+ (%S+) .* (%d+)$')
    if seq and idle ~= '0' then
      local time = redis.call('TIME')
      redis.call('SET', KEYS[5], seq .. string.format(' %.0f', time[1] * 1000000 + time[2]))
    end
  end
end
if is_it or node ~= ARGV[3] then redis.call('SREM', KEYS[2], ARGV[4] .. ' ' .. ARGV[1]) end
return is_it and 1 or 0
