-- Finds what is overdue and gives it a new generation, for a new message. ARGV: now, most entries,
--   first wait in ms, longest wait in ms, most entries a second of all bridges together.
-- Returns a row an entry: {id, generation, alone (1 or 0), why ('lapsed' | 'retry' | 'unclaimed'), enrolment}.
local first, longest = tonumber(ARGV[3]), tonumber(ARGV[4])
local rows = {}

-- after an outage everything is due at about the same time: the server that has just come back gets it bit by bit
local second, swept = math.floor(now / 1000), prefix .. 'swept'
local most = math.min(tonumber(ARGV[2]), tonumber(ARGV[5]) - tonumber(redis.call('HGET', swept, second) or '0'))
if most <= 0 then return rows end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)) do
  local entry = entry_key(id)
  local seen = redis.call('HMGET', entry, 'state', 'enrolment', 'sweeps', 'group', 'isolated')
  if not seen[1] then
    redis.call('ZREM', due, id)
  else
    local sweeps, why, generation = tonumber(seen[3]), 'retry', nil
    if seen[1] == 'claimed' then
      -- the attempt died or hangs. In a group nobody is to blame yet: each goes on alone. Lost alone it may still be
      -- another's victim, in the same process: it goes on in a process of its own, and only there it counts
      if seen[5] == '1' then
        redis.call('HINCRBY', entry, 'crashes', 1)
      elseif seen[4] == '1' then
        redis.call('HSET', entry, 'isolated', 1)
      end
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
if #rows > 0 then
  redis.call('HINCRBY', swept, second, #rows)
  redis.call('EXPIRE', swept, 2)
end
return rows
