-- Records what an attempt is about to owe, before it writes. ARGV: now, token, then 4 an entry:
--   id, field ('owed' or 'failure'), value, mid of the announcement or ''.
-- Returns a status an entry: 'owed'; 'paid' where this announcement has left already; 'lost' where the claim is gone.
local rows = {}
for at = 3, #ARGV, 4 do
  local entry = entry_key(ARGV[at])
  if redis.call('HGET', entry, 'token') ~= ARGV[2] then
    rows[#rows + 1] = 'lost'
  else
    redis.call('HSET', entry, ARGV[at + 1], ARGV[at + 2])
    local paid = ARGV[at + 3] ~= '' and redis.call('EXISTS', paid_key(ARGV[at + 3])) == 1
    rows[#rows + 1] = paid and 'paid' or 'owed'
  end
end
return rows
