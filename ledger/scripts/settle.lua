-- Ends entries that owe nothing more, and closes every offset they stand for.
-- ARGV: now, token, seconds to remember a paid mid, then 2 an entry: id, mid paid or ''.
-- Returns for each entry how many requests ended with it, 0 where the claim was gone.
may_grow()
local rows, paid = {}, {}
for at = 4, #ARGV, 2 do
  local id, entry = ARGV[at], entry_key(ARGV[at])
  local seen = redis.call('HMGET', entry, 'token', 'enrolment', 'open', 'offset')
  local closed = 0
  if seen[1] == ARGV[2] then
    closed = redis.call('ZREM', seen[3], seen[4])
    local also = redis.call('LRANGE', also_key(id), 0, -1)
    for n = 1, #also, 2 do closed = closed + redis.call('ZREM', also[n], also[n + 1]) end
    redis.call('DEL', entry, also_key(id))
    redis.call('ZREM', due, id)
    if redis.call('HGET', running, seen[2]) == id then redis.call('HDEL', running, seen[2]) end
    if redis.call('DECRBY', count, closed) == 0 then
      -- whatever an older release left uncounted there
      redis.call('DEL', parked)
    end
    local blocked = redis.call('HGET', waiting, seen[2])
    if blocked and redis.call('HGET', entry_key(blocked), 'blocked') == '1' then
      redis.call('ZADD', due, now, blocked)
    end
  end
  -- an announcement that Kafka confirmed is remembered even by an attempt that lost its claim meanwhile
  if ARGV[at + 1] ~= '' then paid[#paid + 1] = ARGV[at + 1] end
  rows[#rows + 1] = closed
end
for _, mid in ipairs(paid) do redis.call('SET', paid_key(mid), 1, 'EX', ARGV[3]) end
return rows
