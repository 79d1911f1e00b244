-- Which clips still wait for a verdict. KEYS: meta, then for each miner wanted rows and rows that are there.
-- ARGV: for each clip the miner's place (from 0) and row. Returns for each clip 1 or 0. Writes nothing.
local open = redis.call('HGET', KEYS[1], 'stage') == '1'
local answers = {}
for a = 1, #ARGV, 2 do
  local base, row = 2 + 2 * tonumber(ARGV[a]), ARGV[a + 1]
  local wanted = open and redis.call('GETBIT', KEYS[base], row) == 1 and redis.call('GETBIT', KEYS[base + 1], row) == 0
  answers[#answers + 1] = wanted and 1 or 0
end
return answers
