-- Moves a round on. KEYS: meta, wanted miners, miner results, miners of the clip stage, then for each of these miners
-- wanted rows, rows that are there, results. ARGV: epoch, results of the current stage that the caller read (or ''),
-- channel, stage, plan, expected, then hotkey and bitmap of rows for each of these miners.
-- Returns {1 applied | 0 already | 3 other results | -1 fenced | -2 not open, newest epoch seen here}.
local fence = redis.call('HGET', KEYS[1], 'fence') or '0'
if tonumber(ARGV[1]) < tonumber(fence) then return {-1, fence} end
local stage = redis.call('HGET', KEYS[1], 'stage')
if not stage then return {-2, fence} end
local to = tonumber(ARGV[4])
if tonumber(stage) >= to then return {0, fence} end
if ARGV[2] ~= '' and ARGV[2] ~= (redis.call('HGET', KEYS[1], 'done' .. stage) or '0') then return {3, fence} end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'stage', to, 'plan' .. to, ARGV[5],
  'want' .. to, ARGV[6], 'done' .. to, 0)
local miner = 7
for k = 5, #KEYS, 3 do
  redis.call('SET', KEYS[k], ARGV[miner + 1])
  redis.call('UNLINK', KEYS[k + 1], KEYS[k + 2])
  redis.call('SADD', KEYS[4], ARGV[miner])
  miner = miner + 2
end
-- A version before this one gave open rounds a time to live.
for k = 1, 4 do redis.call('PERSIST', KEYS[k]) end
redis.call('PUBLISH', ARGV[3], '')
return {1, ARGV[1]}
