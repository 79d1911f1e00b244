-- Becomes or stays leader. KEYS: lease, epoch. ARGV: who, time to live (ms).
-- Returns {1, epoch} to the leader, {0, holder} to others.
-- A new epoch is above the last one and not below the server's clock in milliseconds: a board that was
-- emptied still gives out larger epochs than it did before.
local holder = redis.call('GET', KEYS[1])
local last = redis.call('GET', KEYS[2])
if holder and last then
  if holder ~= ARGV[1] then return {0, holder} end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, last}
end
local time = redis.call('TIME')
local clock = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local epoch = string.format('%.0f', math.max(tonumber(last or '0') + 1, clock))
redis.call('SET', KEYS[2], epoch)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, epoch}
