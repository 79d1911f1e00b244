-- Forgets results of the current stage. KEYS: meta, miner results, then for each clip its miner's rows that are there
-- and results. ARGV: epoch, channel, then for each job the place of its miner's keys (0: a miner's report) and its row
-- (or hotkey).
-- Returns {1 applied | 0 already | -1 fenced, newest epoch seen here}.
local fence = redis.call('HGET', KEYS[1], 'fence') or '0'
if tonumber(ARGV[1]) < tonumber(fence) then return {-1, fence} end
local stage = redis.call('HGET', KEYS[1], 'stage')
local forgotten = 0
for a = 3, #ARGV, 2 do
  local place, field = tonumber(ARGV[a]), ARGV[a + 1]
  if place == 0 then
    if stage == '0' then forgotten = forgotten + redis.call('HDEL', KEYS[2], field) end
  elseif stage == '1' then
    forgotten = forgotten + redis.call('SETBIT', KEYS[place], field, 0)
    redis.call('HDEL', KEYS[place + 1], field)
  end
end
if forgotten == 0 then return {0, fence} end
redis.call('HINCRBY', KEYS[1], 'done' .. stage, -forgotten)
redis.call('PUBLISH', ARGV[2], '')
return {1, ARGV[1]}
