-- Changes the settings of a topic, and tells every node that follows it to read them.
-- KEYS: topic, events, used, idle topics
-- ARGV: name, channel, settings expected, settings from now on, events to keep
-- Returns: 'ok'; 'other' if the settings are not as expected; or 'missing'
local record = redis.call('GET', KEYS[1])
if not record then return 'missing' end
local place, settings = string.match(record, '^(%S+ %S+ %S+ %S+ %S+ %S+) (.*)$')
if settings ~= ARGV[3] then return 'other' end
redis.call('SET', KEYS[1], place .. ' ' .. ARGV[4])
local seq = string.match(place, '^%S+ (%S+)')
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', math.max(seq - ARGV[5] + 1, 0)))
local before, idle = string.match(settings, '(%d+)$'), string.match(ARGV[4], '(%d+)$')
if idle == '0' then
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[4], ARGV[1])
elseif idle ~= before then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  if before == '0' then
    -- When it was last used is not known.
    redis.call('SET', KEYS[3], seq .. string.format(' %.0f', now))
  end
  -- Looked at now: how long it was not used is in the other key.
  redis.call('ZADD', KEYS[4], string.format('%.0f', now), ARGV[1])
end
redis.call('PUBLISH', ARGV[2], 's\n')
return 'ok'
