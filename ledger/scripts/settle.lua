-- Ends entries that owe nothing more, and closes every offset they stand for.
-- ARGV: now, token, seconds to remember a paid mid, then 3 an entry: id, mid paid or '', given up (1 or 0).
-- Returns for each entry how many requests ended with it; 0 where the claim was gone, or where the entry was marked
-- repeated while its attempt ran, which announced nothing: the next one knows that it may have to.
may_grow()
local rows, paid = {}, {}
for at = 4, #ARGV, 3 do
  local id, mid, is_given_up, entry = ARGV[at], ARGV[at + 1], ARGV[at + 2] == '1', entry_key(ARGV[at])
  local seen, closed = redis.call('HMGET', entry, 'token', 'again', 'enrolment'), 0
  if seen[1] == ARGV[2] and seen[2] and mid == '' and not is_given_up then
    unclaim(id, entry, seen[3])
    redis.call('ZADD', due, now, id)
    wake_blocked(seen[3])
  elseif seen[1] == ARGV[2] then
    closed = finish(id, entry, is_given_up)
  end
  -- an announcement that Kafka confirmed is remembered even by an attempt that lost its claim meanwhile
  if mid ~= '' then paid[#paid + 1] = mid end
  rows[#rows + 1] = closed
end
for _, mid in ipairs(paid) do redis.call('SET', paid_key(mid), 1, 'EX', ARGV[3]) end
return rows
