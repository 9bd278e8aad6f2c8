-- Takes what shadow mode found into its report, once for each entry however often it is attempted.
-- ARGV: now, most differences kept, then for each comparison: entry id or '' for a record that is no request, how many
--   names follow, the names of the counts to raise, how many differences follow, these as text.
-- Returns 1 for each that is new to the report; 0 where its entry was taken in before, or is gone and so was settled.
may_grow()
local counts, differences = prefix .. 'shadow:counts', prefix .. 'shadow:differences'
local rows, at = {}, 3
while at <= #ARGV do
  local entry, names = entry_key(ARGV[at]), tonumber(ARGV[at + 1])
  local texts = tonumber(ARGV[at + 2 + names])
  local is_new = ARGV[at] == ''
    or (redis.call('EXISTS', entry) == 1 and redis.call('HSETNX', entry, 'compared', 1) == 1)
  if is_new then
    for n = at + 2, at + 1 + names do redis.call('HINCRBY', counts, ARGV[n], 1) end
    for n = at + 3 + names, at + 2 + names + texts do redis.call('LPUSH', differences, ARGV[n]) end
    redis.call('HSETNX', counts, 'since', now)
    redis.call('HSET', counts, 'latest', now)
  end
  rows[#rows + 1] = is_new and 1 or 0
  at = at + 3 + names + texts
end
redis.call('LTRIM', differences, 0, tonumber(ARGV[2]) - 1)
return rows
