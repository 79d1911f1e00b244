-- Moves a round on. KEYS: meta, wanted miners, miner results, miners of the clip stage, then the wanted rows of
-- each of these miners. ARGV: epoch, retention (ms), channel, stage, plan, expected, then hotkey and bitmap of
-- rows for each of these miners.
-- Returns {1 applied | 0 already | -1 fenced | -2 not open, newest epoch seen here}.
local fence = redis.call('HGET', KEYS[1], 'fence') or '0'
if tonumber(ARGV[1]) < tonumber(fence) then return {-1, fence} end
local stage = redis.call('HGET', KEYS[1], 'stage')
if not stage then return {-2, fence} end
local to = tonumber(ARGV[4])
if tonumber(stage) >= to then return {0, fence} end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'stage', to, 'plan' .. to, ARGV[5],
  'want' .. to, ARGV[6], 'done' .. to, 0)
local miner = 7
for k = 5, #KEYS do
  redis.call('SET', KEYS[k], ARGV[miner + 1], 'PX', ARGV[2])
  redis.call('SADD', KEYS[4], ARGV[miner])
  miner = miner + 2
end
for k = 1, 4 do redis.call('PEXPIRE', KEYS[k], ARGV[2]) end
redis.call('PUBLISH', ARGV[3], '')
return {1, ARGV[1]}
