-- Creates a topic if there is none of its name, and tells all nodes.
-- KEYS: topic, names of all topics, used, idle topics
-- ARGV: name, most topics, topics elsewhere, record of the topic, channel of news
-- Returns: 'ok', 'exists' or 'limit'
if redis.call('EXISTS', KEYS[1]) == 1 then return 'exists' end
if redis.call('SCARD', KEYS[2]) + tonumber(ARGV[3]) >= tonumber(ARGV[2]) then return 'limit' end
redis.call('SET', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
local idle = tonumber(string.match(ARGV[4], '(%d+)$'))
if idle > 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  redis.call('SET', KEYS[3], string.format('0 %.0f', now))
  redis.call('ZADD', KEYS[4], string.format('%.0f', now + math.ceil(idle / 4)), ARGV[1])
end
redis.call('PUBLISH', ARGV[5], 'topic ' .. string.match(ARGV[4], '^%S+') .. ' ' .. ARGV[1])
return 'ok'
