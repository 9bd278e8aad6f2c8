-- Ends entries of a learner who is to be forgotten, whoever holds them, and takes their enrolments off every list.
-- ARGV: now, then 2 an entry: id, enrolment. An entry of another enrolment is left alone.
-- Returns for each how many requests ended with it. An attempt that runs has lost its claim then, and is told so with
-- its next step in the ledger.
may_grow()
local rows = {}
for at = 2, #ARGV, 2 do
  local id, enrolment, entry = ARGV[at], ARGV[at + 1], entry_key(ARGV[at])
  local closed = 0
  if redis.call('HGET', entry, 'enrolment') == enrolment then
    unpark(id, entry)
    closed = finish(id, entry)
  end
  for _, list in ipairs({waiting, running}) do
    if redis.call('HGET', list, enrolment) == id then redis.call('HDEL', list, enrolment) end
  end
  rows[#rows + 1] = closed
end
return rows
