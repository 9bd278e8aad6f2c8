-- Ends entries that owe nothing more, and closes every offset they stand for.
-- ARGV: now, token, seconds to remember a paid mid, then 3 an entry: id, mid paid or '', given up (1 or 0).
-- Returns for each entry how many requests ended with it, 0 where the claim was gone.
may_grow()
local rows, paid = {}, {}
for at = 4, #ARGV, 3 do
  local id, entry = ARGV[at], entry_key(ARGV[at])
  local closed = redis.call('HGET', entry, 'token') == ARGV[2] and finish(id, entry, ARGV[at + 2] == '1') or 0
  -- an announcement that Kafka confirmed is remembered even by an attempt that lost its claim meanwhile
  if ARGV[at + 1] ~= '' then paid[#paid + 1] = ARGV[at + 1] end
  rows[#rows + 1] = closed
end
for _, mid in ipairs(paid) do redis.call('SET', paid_key(mid), 1, 'EX', ARGV[3]) end
return rows
