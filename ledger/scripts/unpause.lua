-- Ends pauses. ARGV: now, then scopes (see pause.lua). Returns 1 for each that was paused.
-- What waits on a shelf comes back with the sweeps, as many at a time as these may send.
may_grow()
local rows = {}
for at = 2, #ARGV do
  local why = redis.call('HGET', paused, ARGV[at])
  if why and redis.call('EXISTS', shelf_key(ARGV[at])) == 1 then
    redis.call('HSET', paused, ARGV[at], '')
  else
    redis.call('HDEL', paused, ARGV[at])
  end
  rows[#rows + 1] = why and why ~= '' and 1 or 0
end
return rows
