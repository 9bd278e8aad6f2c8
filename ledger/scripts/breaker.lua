-- Says for how long final failures are held (fail.lua). ARGV: now.
-- Returns one row: {ms left, times in a row that there were too many}.
local seen = redis.call('HMGET', breaker, 'until', 'trips')
return {{math.max(0, tonumber(seen[1] or '0') - now), tonumber(seen[2] or '0')}}
