-- Says how full the ledger is. ARGV: now, most of what waits for one thing that the bound does not count, most of all.
-- Returns one row: {open offsets, those that count towards the bound}.
local total = tonumber(redis.call('GET', count) or '0')
return {{total, counted(total, tonumber(ARGV[2]), tonumber(ARGV[3]))}}
