-- Posts a clip's verdict. KEYS: meta, wanted rows, rows that are there, results, late results.
-- ARGV: row, result, retention (ms), channel, name among the late. Returns as post_miner.
local stage = redis.call('HGET', KEYS[1], 'stage')
if not stage or stage == '9' then return 3 end
if redis.call('GETBIT', KEYS[2], ARGV[1]) == 0 then return 3 end
if redis.call('GETBIT', KEYS[3], ARGV[1]) == 1 then return 1 end
if stage ~= '1' then
  if redis.call('HSETNX', KEYS[5], ARGV[5], ARGV[2]) == 0 then return 1 end
  if redis.call('HLEN', KEYS[5]) == 1 then redis.call('PEXPIRE', KEYS[5], ARGV[3]) end
  return 2
end
redis.call('SETBIT', KEYS[3], ARGV[1], 1)
redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
if redis.call('HLEN', KEYS[4]) == 1 then
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  redis.call('PEXPIRE', KEYS[4], ARGV[3])
end
local done = redis.call('HINCRBY', KEYS[1], 'done1', 1)
if done == tonumber(redis.call('HGET', KEYS[1], 'want1')) then redis.call('PUBLISH', ARGV[4], '') end
return 0
