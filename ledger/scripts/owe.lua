-- Records the completions that an attempt is about to write. ARGV: now, token, then 3 an entry:
--   id, completedon in ms, mid of the announcement.
-- Returns a status an entry: 'owed'; 'paid' where this announcement has left already; 'lost' where the claim is gone.
may_grow()
local rows = {}
for at = 3, #ARGV, 3 do
  local entry = entry_key(ARGV[at])
  if redis.call('HGET', entry, 'token') ~= ARGV[2] then
    rows[#rows + 1] = 'lost'
  else
    redis.call('HSET', entry, 'owed', ARGV[at + 1])
    rows[#rows + 1] = redis.call('EXISTS', paid_key(ARGV[at + 2])) == 1 and 'paid' or 'owed'
  end
end
return rows
