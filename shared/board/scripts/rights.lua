-- Tries every command that the scripts use, so that a missing right shows at the start and not in the middle of a
-- round. KEYS: a string, a hash, a set and a sorted set, all for this alone. ARGV: channel.
-- Returns name and error of each command that failed, one after the other.
local failed = {}
local function try(name, ...)
  local answer = redis.pcall(name, ...)
  if type(answer) == 'table' and answer.err then
    failed[#failed + 1] = name
    failed[#failed + 1] = answer.err
  end
end
try('TIME')
try('SET', KEYS[1], '', 'PX', 10000)
try('GET', KEYS[1])
try('SETBIT', KEYS[1], 0, 1)
try('GETBIT', KEYS[1], 0)
try('PTTL', KEYS[1])
try('TYPE', KEYS[1])
try('HSET', KEYS[2], 'field', 1)
try('HSETNX', KEYS[2], 'other', 1)
try('HGET', KEYS[2], 'field')
try('HEXISTS', KEYS[2], 'field')
try('HINCRBY', KEYS[2], 'field', 1)
try('HDEL', KEYS[2], 'other')
try('SADD', KEYS[3], 'member')
try('SISMEMBER', KEYS[3], 'member')
try('ZADD', KEYS[4], 0, 'member')
try('ZREM', KEYS[4], 'other')
try('PERSIST', KEYS[2])
try('PEXPIRE', KEYS[2], 10000)
try('PUBLISH', ARGV[1], '')
try('DEL', KEYS[1], KEYS[2])
try('UNLINK', KEYS[3], KEYS[4])
return failed
