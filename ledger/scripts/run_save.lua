-- Saves a bulk run's record and renews the lease of who drives it, or lets it go.
-- ARGV: now, run, token, lease in ms (0: let go), record.
-- Returns one row: {'saved'}; {'driven', by whom} where another process goes on with it, {'missing'} where it is gone.
may_grow()
local run, token = ARGV[2], ARGV[3]
local seen = redis.call('HMGET', run_key(run), 'record', 'token', 'by')
if not seen[1] then return {{'missing'}} end
-- a lease that lapsed while nobody else asked is still ours
if seen[2] ~= token then return {{'driven', seen[3] or ''}} end
redis.call('HSET', run_key(run), 'record', ARGV[5], 'until', ARGV[4] == '0' and 0 or now + tonumber(ARGV[4]))
redis.call('EXPIRE', run_key(run), RUN_KEPT)
return {{'saved'}}
