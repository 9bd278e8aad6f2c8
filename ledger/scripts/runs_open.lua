-- Says what bulk runs have open. ARGV: now, most runs. Returns a row for each run that has any: {run, offsets}.
local rows = {}
for _, run in ipairs(redis.call('SMEMBERS', runs_open)) do
  local offsets = redis.call('ZCARD', run_open_key(run))
  -- an older release ends requests and does not know of runs
  if offsets == 0 then redis.call('SREM', runs_open, run) end
  if offsets > 0 and #rows < tonumber(ARGV[2]) then rows[#rows + 1] = {run, offsets} end
end
return rows
