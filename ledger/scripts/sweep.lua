-- Finds what is overdue and gives it a new generation, for a new message. ARGV: now, most entries,
--   first wait in ms, longest wait in ms.
-- Returns a row an entry: {id, generation, alone (1 or 0), why ('lapsed' | 'retry' | 'unclaimed'), enrolment}.
local first, longest = tonumber(ARGV[3]), tonumber(ARGV[4])
local rows = {}

for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))) do
  local entry = entry_key(id)
  local seen = redis.call('HMGET', entry, 'state', 'enrolment', 'sweeps', 'group')
  if not seen[1] then
    redis.call('ZREM', due, id)
  else
    local sweeps, why, generation = tonumber(seen[3]), 'retry', nil
    if seen[1] == 'claimed' then
      -- the attempt died or hangs. In a group nobody is to blame yet: each goes on alone; alone, it counts
      if seen[4] == '1' then redis.call('HINCRBY', entry, 'crashes', 1) end
      generation = unclaim(id, entry, seen[2])
      redis.call('HSET', entry, 'alone', 1)
      sweeps, why = 0, 'lapsed'
    else
      if sweeps > 0 then why = 'unclaimed' end
      generation = redis.call('HINCRBY', entry, 'generation', 1)
    end
    redis.call('HSET', entry, 'sweeps', sweeps + 1, 'blocked', 0)
    -- each sweep that nobody claims doubles the wait: a backlog does not multiply itself
    redis.call('ZADD', due, now + math.min(first * 2 ^ math.min(sweeps, 20), longest), id)
    rows[#rows + 1] = {id, generation, tonumber(redis.call('HGET', entry, 'alone')), why, seen[2]}
  end
end
return rows
