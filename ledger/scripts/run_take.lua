-- Makes a bulk run, or goes on with one, for one process: nobody else drives it while that process renews its lease.
-- ARGV: now, run, token, who asks, lease in ms, life of the ledger, most runs that may be driven at once, most records,
--   record of a new run or '' for one that is there, who is known to be gone and may be replaced at once, or ''.
-- A run's hash has its record (JSON) and the life of the ledger in which it was taken last, who drives it until when,
-- and the counts of its requests: submitted, collapsed, given_up. `bulk:runs` has the runs by the time of their making.
-- Returns one row: {'taken', record, life} | {'driven', by whom} | {'missing'} | {'known'} | {'many', how many}.
local run, token, record = ARGV[2], ARGV[3], ARGV[9]
local runs = prefix .. 'bulk:runs'

local driven, names = 0, redis.call('ZRANGE', runs, 0, -1)
for at, name in ipairs(names) do
  if name ~= run and tonumber(redis.call('HGET', run_key(name), 'until') or '0') > now then
    driven = driven + 1
  elseif name ~= run and at <= #names + 1 - tonumber(ARGV[8]) then
    redis.call('DEL', run_key(name))
  end
  -- deleted here, or expired
  if redis.call('EXISTS', run_key(name)) == 0 then redis.call('ZREM', runs, name) end
end
local seen = redis.call('HMGET', run_key(run), 'record', 'life', 'token', 'until', 'by')
if record == '' and not seen[1] then return {{'missing'}} end
if seen[1] and seen[3] ~= token and seen[5] ~= ARGV[10] and tonumber(seen[4] or '0') > now then
  return {{'driven', seen[5]}}
end
if record ~= '' and seen[1] and seen[3] ~= token then return {{'known'}} end
if driven >= tonumber(ARGV[7]) then return {{'many', driven}} end

redis.call('HSET', run_key(run), 'token', token, 'by', ARGV[4], 'until', now + tonumber(ARGV[5]), 'life', ARGV[6])
if record ~= '' then
  redis.call('HSET', run_key(run), 'record', record)
  redis.call('ZADD', runs, 'NX', now, run)
end
redis.call('EXPIRE', run_key(run), RUN_KEPT)
return {{'taken', record ~= '' and record or seen[1], seen[2] or ARGV[6]}}
