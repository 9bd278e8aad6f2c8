-- Ends attempts that go on later: alone after an error of their own or a crash, in company after an outage.
-- ARGV: now, token, then 5 an entry:
--   id, delay in ms, counter to raise ('attempts', 'waits' or 'crashes'), reason, what it waits for alone or ''.
-- What waits for one server or one course alone must not fill the ledger for all others: see `counted`.
-- Returns 1 for each entry that was ours, else 0.
may_grow()
local rows = {}
for at = 3, #ARGV, 5 do
  local id, entry = ARGV[at], entry_key(ARGV[at])
  local seen = redis.call('HMGET', entry, 'token', 'enrolment')
  if seen[1] ~= ARGV[2] then
    rows[#rows + 1] = 0
  else
    unclaim(id, entry, seen[2])
    redis.call('HINCRBY', entry, ARGV[at + 2], 1)
    redis.call('HSET', entry, 'reason', ARGV[at + 3])
    if ARGV[at + 2] ~= 'waits' then redis.call('HSET', entry, 'alone', 1) end
    if ARGV[at + 4] ~= '' then park(id, entry, ARGV[at + 4]) end
    redis.call('ZADD', due, now + tonumber(ARGV[at + 1]), id)
    wake_blocked(seen[2])
    rows[#rows + 1] = 1
  end
end
return rows
