-- Pauses what operators name. ARGV: now, most pauses at once, reason, then scopes: 'all' (nothing is accepted or
--   attempted), 'drain' (nothing is accepted), 'course:' or 'batch:' with its id (it is accepted and not attempted).
-- `paused` holds for each '<since> <reason>', and '' for one that is over and whose shelf the sweep empties.
-- Returns 1 for each scope that is paused now, 0 where there are too many. One that was paused keeps its time.
may_grow()
local rows = {}
for at = 4, #ARGV do
  local why = redis.call('HGET', paused, ARGV[at])
  local takes = why or redis.call('HLEN', paused) < tonumber(ARGV[2])
  if takes then
    local since = why and string.match(why, '^%d+') or string.format('%.0f', now)
    redis.call('HSET', paused, ARGV[at], since .. ' ' .. ARGV[3])
  end
  rows[#rows + 1] = takes and 1 or 0
end
return rows
