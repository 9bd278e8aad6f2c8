-- Records that requests are given up, before their failed events are sent, unless too many were given up of late.
-- ARGV: now, token, most new failures a minute, then 2 an entry: id, failure.
-- Returns a status an entry: 'owed'; 'held' where it is to wait; 'lost' where the claim is gone.
-- The breaker is closed until one minute brings more failures than it may. Then nothing is given up for a minute, and
-- twice as long each time that the minute after brings a tenth of that many, an hour at the most; a minute with fewer
-- closes it again. A bulk run's requests are held with all others and counted for their run alone: a run over a broken
-- course must not stop the clicks.
may_grow()
local MINUTE, HOUR = 60000, 3600000
local limit = tonumber(ARGV[3])
local rows = {}

local function state(field) return tonumber(redis.call('HGET', breaker, field) or '0') end

-- Says whether one more may be given up, and counts it where it is no run's.
local function admits(is_run_s)
  local held_until, trips = state('until'), state('trips')
  if now < held_until then return false end
  if is_run_s then return true end
  if now >= state('began') + MINUTE then
    if trips > 0 and now >= held_until + MINUTE then trips = 0 end
    redis.call('HSET', breaker, 'began', now, 'failures', 0, 'trips', trips)
  end
  local most = trips == 0 and limit or math.max(1, math.floor(limit / 10))
  if redis.call('HINCRBY', breaker, 'failures', 1) <= most then return true end
  redis.call('HSET', breaker, 'trips', trips + 1, 'began', 0,
    'until', now + math.min(MINUTE * 2 ^ math.min(trips, 10), HOUR))
  return false
end

for at = 4, #ARGV, 2 do
  local entry = entry_key(ARGV[at])
  local seen = redis.call('HMGET', entry, 'token', 'failure', 'lane')
  if seen[1] ~= ARGV[2] then
    rows[#rows + 1] = 'lost'
  elseif not seen[2] and not admits(seen[3]) then
    rows[#rows + 1] = 'held'
  else
    if not seen[2] then redis.call('HSET', entry, 'failure', ARGV[at + 1]) end
    rows[#rows + 1] = 'owed'
  end
end
return rows
