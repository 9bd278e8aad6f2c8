-- Shared by every script too: bulk runs (docs/bulk.md). A run's requests have the topic 'bulk:' and its id, which no
-- topic of Kafka can be. Until a click joins it, an entry that one of them made goes in the run's lane, behind all
-- clicks.
local runs_open = KEYS[1] .. 'bulk:open' -- set: the runs of which offsets are open
-- A message waits its turn behind clicks: it is given so much longer before it is sent again.
local LANE_PATIENCE = 4
-- A run's record is kept for so long after its last change, in seconds.
local RUN_KEPT = 30 * 24 * 3600

-- A run's record and counts, a hash: see run_take.lua.
local function run_key(run) return KEYS[1] .. 'bulk:run:' .. run end
local function run_open_key(run) return KEYS[1] .. 'open:bulk:' .. run .. ':0' end

-- Gives the run of which offsets with this key are; nil where they are clicks.
local function run_of(open) return string.match(string.sub(open, #KEYS[1] + 1), '^open:bulk:([^:]+):0$') end

-- An entry leaves its run's lane; says whether its message, which lies behind all clicks, is to be sent anew. One that
-- waits for its time, or on a shelf, keeps that.
local function leave_lane(entry)
  redis.call('HDEL', entry, 'lane')
  local seen = redis.call('HMGET', entry, 'sweeps', 'shelf')
  return seen[1] ~= '0' and not seen[2]
end

local function count_for_run(run, field)
  redis.call('HINCRBY', run_key(run), field, 1)
  redis.call('EXPIRE', run_key(run), RUN_KEPT)
end

-- How many offsets of runs are open: runs bound these themselves, and they take no room from clicks.
local function open_of_runs()
  local found = 0
  for _, run in ipairs(redis.call('SMEMBERS', runs_open)) do found = found + redis.call('ZCARD', run_open_key(run)) end
  return found
end

-- How many of the offsets that an entry stands for, its own and those in `also`, are clicks.
local function clicks_of(open, also)
  local clicks = run_of(open) and 0 or 1
  for n = 1, #also, 2 do
    if not run_of(also[n]) then clicks = clicks + 1 end
  end
  return clicks
end
