-- Begins attempts: at most one per enrolment at a time, and only for the generation that was sent last.
-- ARGV: now, lease in ms, token, newest entry version that the caller reads, whether the caller begins the attempt in a
-- process of its own, then 2 an entry: id, generation.
-- Returns a row an entry: {status, field, value, ...}; fields only with 'claimed'. What is paused is claimed by nobody:
-- it waits on its shelf, and nothing is counted against it. An attempt in a process of its own is claimed twice: by the
-- worker that starts the process, and once it is there by the process, which begins with that.
may_grow()
local lease, token, newest, begins = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local group = (#ARGV - 5) / 2
local rows = {}

-- An attempt of another entry runs, or its debt is to be paid first.
local function is_held_up_by(other)
  local state, owed = unpack(redis.call('HMGET', entry_key(other), 'state', 'owed'))
  return state == 'claimed' or owed
end

-- A click waits for what a bulk run's request owes. That leaves the run's lane: it would go behind all clicks there, and
-- nowhere while no worker takes from that queue.
local function bring_forward(id)
  local entry = entry_key(id)
  local state, lane = unpack(redis.call('HMGET', entry, 'state', 'lane'))
  if state == 'waiting' and lane and leave_lane(entry) then redis.call('ZADD', due, now, id) end
end

for at = 6, #ARGV, 2 do
  local id, entry = ARGV[at], entry_key(ARGV[at])
  local seen = redis.call('HMGET', entry, 'version', 'generation', 'state', 'enrolment', 'token', 'shelf', 'isolated',
    'lane')
  if not seen[1] then
    rows[#rows + 1] = {'unknown'}
  elseif tonumber(seen[1]) > newest then
    rows[#rows + 1] = {'newer'}
  elseif seen[3] == 'claimed' and seen[5] == token then
    -- the process of its own takes it over; or the answer to this very claim was lost on its way: give it again
    if begins and seen[7] == '1' then redis.call('HSET', entry, 'begun', 1) end
    rows[#rows + 1] = {'claimed', unpack(redis.call('HGETALL', entry))}
  elseif seen[3] == 'claimed' or seen[2] ~= ARGV[at + 1] then
    rows[#rows + 1] = {'stale'}
  else
    local enrolment = seen[4]
    local scope, other = paused_by(enrolment), redis.call('HGET', running, enrolment)
    if scope then
      shelve(id, entry, scope)
      rows[#rows + 1] = {'paused'}
    elseif other and other ~= id and is_held_up_by(other) then
      -- it goes on as soon as the other ends (settle and retry wake it), at the latest after a lease
      if seen[6] then unshelve(id, entry, seen[6]) end
      redis.call('HSET', entry, 'sweeps', 0, 'blocked', 1)
      redis.call('ZADD', due, now + lease, id)
      if not seen[8] then bring_forward(other) end
      rows[#rows + 1] = {'busy'}
    else
      unpark(id, entry)
      if seen[6] then unshelve(id, entry, seen[6]) end
      redis.call('HSET', entry, 'state', 'claimed', 'token', token, 'group', group, 'blocked', 0)
      redis.call('HDEL', entry, 'again')
      if seen[7] == '1' then redis.call('HSET', entry, 'begun', 0) end
      redis.call('HSET', running, enrolment, id)
      if redis.call('HGET', waiting, enrolment) == id then redis.call('HDEL', waiting, enrolment) end
      redis.call('ZADD', due, now + lease, id)
      rows[#rows + 1] = {'claimed', unpack(redis.call('HGETALL', entry))}
    end
  end
end
return rows
