-- Records a final failure from outside any attempt: an operator revoked the task. ARGV: now, failure,
--   then 2 an entry: id, generation.
-- Returns 1 for each entry that ends with it. An older generation's message is about nothing any more, and a
-- completion that is owed is announced all the same: the learner's row says completed.
may_grow()
local rows = {}
for at = 3, #ARGV, 2 do
  local entry = entry_key(ARGV[at])
  local seen = redis.call('HMGET', entry, 'generation', 'owed', 'failure')
  local takes = seen[1] == ARGV[at + 1] and not seen[2] and not seen[3]
  if takes then redis.call('HSET', entry, 'failure', ARGV[2]) end
  rows[#rows + 1] = takes and 1 or 0
end
return rows
