-- Finds what is overdue, for a new message, and gives it a new generation unless nothing but that message is missing:
-- one that was sent before and is still on its way may begin the attempt as well. ARGV: now, most entries,
--   first wait in ms, longest wait in ms, most entries a second of all bridges together.
-- Returns a row an entry: {id, generation, alone (1 or 0), why ('lapsed' | 'retry' | 'unclaimed'), enrolment, run in
-- whose lane it goes or ''}. What is paused goes onto its shelf instead, and comes back when the pause is over.
may_grow()
local first, longest = tonumber(ARGV[3]), tonumber(ARGV[4])
local rows = {}
-- how often a process of its own may be lost before it began, and not count
local MOST_UNBEGUN = 10

-- after an outage everything is due at about the same time: the server that has just come back gets it bit by bit
local second, swept = math.floor(now / 1000), prefix .. 'swept'
local most = math.min(tonumber(ARGV[2]), tonumber(ARGV[5]) - tonumber(redis.call('HGET', swept, second) or '0'))
if most <= 0 then return rows end

-- what a pause kept back and its end let go
local pauses = knows_pauses() and redis.call('HGETALL', paused) or {}
for at = 1, #pauses, 2 do
  local scope, why = pauses[at], pauses[at + 1]
  if why == '' then
    for _, id in ipairs(redis.call('ZRANGE', shelf_key(scope), 0, most - 1)) do
      unshelve(id, entry_key(id), scope)
      -- one that a worker of an older release has claimed keeps its lease
      redis.call('ZADD', due, 'NX', now, id)
    end
    if redis.call('EXISTS', shelf_key(scope)) == 0 then redis.call('HDEL', paused, scope) end
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)) do
  local entry = entry_key(id)
  local seen = redis.call('HMGET', entry, 'state', 'enrolment', 'sweeps', 'group', 'isolated', 'accepted', 'lane',
    'begun', 'generation')
  if not seen[1] then
    redis.call('ZREM', due, id)
  else
    local sweeps, why, generation, scope = tonumber(seen[3]), 'retry', nil, paused_by(seen[2])
    -- an older release does not write it down
    redis.call('ZADD', ages, 'NX', seen[6] or now, id)
    if seen[1] == 'claimed' then
      -- the attempt died or hangs. In a group nobody is to blame yet: each goes on alone. Lost alone it may still be
      -- another's victim, in the same process: it goes on in a process of its own, and only there it counts. Where that
      -- one was lost before it began (an older release does not write down whether it had) hardly the request was to
      -- blame; but nothing goes round for ever
      if seen[5] == '1' then
        if seen[8] ~= '0' or redis.call('HINCRBY', entry, 'unbegun', 1) > MOST_UNBEGUN then
          redis.call('HINCRBY', entry, 'crashes', 1)
        end
      elseif seen[4] == '1' then
        redis.call('HSET', entry, 'isolated', 1)
      end
      generation = unclaim(id, entry, seen[2])
      redis.call('HSET', entry, 'alone', 1)
      sweeps, why = 0, 'lapsed'
    elseif not scope then
      if sweeps > 0 then
        -- were the messages before it stale, a queue that takes longer than the wait would hold nothing but stale ones
        why, generation = 'unclaimed', tonumber(seen[9])
      else
        generation = redis.call('HINCRBY', entry, 'generation', 1)
      end
    end
    if scope then
      shelve(id, entry, scope)
    else
      redis.call('HSET', entry, 'sweeps', sweeps + 1, 'blocked', 0)
      -- each sweep that nobody claims doubles the wait: a backlog does not multiply itself
      local wait = (seen[7] and LANE_PATIENCE or 1) * first * 2 ^ math.min(sweeps, 20)
      redis.call('ZADD', due, now + math.min(wait, longest), id)
      rows[#rows + 1] = {id, generation, tonumber(redis.call('HGET', entry, 'alone')), why, seen[2], seen[7] or ''}
    end
  end
end
if #rows > 0 then
  -- the seconds before are counted no more
  if redis.call('HEXISTS', swept, second) == 0 then redis.call('DEL', swept) end
  redis.call('HINCRBY', swept, second, #rows)
  redis.call('EXPIRE', swept, 2)
end
return rows
