-- Posts verdicts of clips. KEYS: meta, late results, then for each miner wanted rows, rows that are there, results.
-- ARGV: channel, then for each verdict the miner's place (from 0), row, result, name among the late.
-- Returns for each verdict 0 first, 1 duplicate, 2 late, 3 unknown.
local stage = redis.call('HGET', KEYS[1], 'stage')
local answers, counted = {}, 0
for a = 2, #ARGV, 4 do
  local base, row = 3 + 3 * tonumber(ARGV[a]), ARGV[a + 1]
  local code
  if not stage or stage == '9' or redis.call('GETBIT', KEYS[base], row) == 0 then
    code = 3
  elseif redis.call('GETBIT', KEYS[base + 1], row) == 1 then
    code = 1
  elseif stage ~= '1' then
    code = 1 + redis.call('HSETNX', KEYS[2], ARGV[a + 3], ARGV[a + 2])
  else
    redis.call('SETBIT', KEYS[base + 1], row, 1)
    redis.call('HSET', KEYS[base + 2], row, ARGV[a + 2])
    counted = counted + 1
    code = 0
  end
  answers[#answers + 1] = code
end
if counted > 0 then
  local done = redis.call('HINCRBY', KEYS[1], 'done1', counted)
  if done == tonumber(redis.call('HGET', KEYS[1], 'want1')) then redis.call('PUBLISH', ARGV[1], '') end
end
return answers
