// What dockerode is used for with containers, networks, volumes and events. There is busybox.

const assert = require('node:assert');
const { once } = require('node:events');
const { PassThrough } = require('node:stream');
const { buffer } = require('node:stream/consumers');
const { setTimeout: sleep } = require('node:timers/promises');
const tar = require('tar-stream');
const Docker = require('dockerode');

const docker = new Docker();
const SLEEP = ['sleep', '1000'];

async function run(options = {}) {
  const container = await docker.createContainer({ Image: 'busybox', Cmd: SLEEP, ...options });
  await container.start();
  return container;
}

async function eventually(what, probe) {
  for (const deadline = Date.now() + 20_000; !(await probe()); await sleep(20)) {
    assert(Date.now() < deadline, `still not: ${what}`);
  }
}

/** What came on either output of a multiplexed stream, once it has ended. */
async function outputs(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return (await Promise.all([buffer(out), buffer(err)])).map(String);
}

async function lives() {
  const container = await docker.createContainer({
    name: 'life', Image: 'busybox', Cmd: ['sh', '-c', 'echo out; echo err >&2; read line; echo got $line; exit 3'],
    Hostname: 'inside', Env: ['A=b'], Labels: { made: 'here' }, OpenStdin: true, StdinOnce: true, ExposedPorts: { '80/tcp': {} },
    HostConfig: { Memory: 64 << 20, CapDrop: ['ALL'], PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] },
      Tmpfs: { '/run': '' }, Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }], Mounts: [{ Type: 'tmpfs', Target: '/t' }] },
  });
  const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
  const seen = outputs(stream);
  assert.strictEqual((await container.inspect()).State.Status, 'created');
  const ended = container.wait({ condition: 'next-exit' });
  await container.start();
  await assert.rejects(container.start(), { statusCode: 304 });
  const inspected = await container.inspect();
  assert.strictEqual(inspected.State.Running, true);
  assert.strictEqual(inspected.HostConfig.Memory, 64 << 20);
  assert(Number(inspected.NetworkSettings.Ports['80/tcp'][0].HostPort) > 0);
  stream.write('typed\n');
  assert.strictEqual((await ended).StatusCode, 3);
  assert.deepStrictEqual(await seen, ['out\ngot typed\n', 'err\n']);
  // The other stream's only line may have been logged after it.
  const log = await container.logs({ stdout: true, stderr: true, timestamps: true, tail: 2 });
  assert.match(String(log), /T.*Z got typed\n/);
  await assert.rejects(container.kill(), { statusCode: 409 });
  await assert.rejects(docker.createContainer({ name: 'life', Image: 'busybox', Cmd: SLEEP }), { statusCode: 409 });
  await container.rename({ name: 'lived' });
  await container.remove();
  await assert.rejects(container.inspect(), { statusCode: 404 });
  await assert.rejects(docker.createContainer({ Image: 'nowhere/nothing' }), { statusCode: 404 });
  await assert.rejects(docker.createContainer({ Image: 'busybox', HostConfig: { Links: ['x:y'] } }),
    { statusCode: 501, message: /HostConfig.Links/ });
}

async function terminals() {
  const container = await run({ Cmd: ['sh'], Tty: true, OpenStdin: true });
  const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
  await container.resize({ h: 20, w: 60 });
  stream.write('stty size; echo done-$((1+1))\n');
  let seen = '';
  for await (const piece of stream) {
    seen += piece;
    if (seen.includes('done-2')) break;
  }
  assert.match(seen, /20 60/);
  await container.remove({ force: true });
}

async function controls() {
  const container = await run({ name: 'control' });
  await container.pause();
  assert.strictEqual((await container.inspect()).State.Status, 'paused');
  await container.unpause();
  assert((await container.top()).Processes[0].includes('sleep 1000'));
  assert((await container.stats({ stream: false })).memory_stats.usage > 0);
  const stream = await container.stats({ stream: true });
  const [piece] = await once(stream, 'data');
  assert.strictEqual(JSON.parse(piece).name, '/control');
  stream.destroy();
  await container.update({ Memory: 96 << 20, MemorySwap: -1 });
  await container.restart({ t: 0 });

  const pack = tar.pack();
  pack.entry({ name: 'file', mode: 0o640 }, 'text\n');
  pack.finalize();
  await container.putArchive(pack, { path: '/tmp' });
  const entries = [];
  const extract = tar.extract();
  extract.on('entry', async (header, content, next) => {
    entries.push([header.name, String(await buffer(content))]);
    next();
  });
  (await container.getArchive({ path: '/tmp/file' })).pipe(extract);
  await once(extract, 'finish');
  assert.deepStrictEqual(entries, [['file', 'text\n']]);
  assert((await container.changes()).some(change => change.Path === '/tmp/file' && change.Kind === 1));

  const listed = filters => docker.listContainers({ all: true, filters });
  assert.strictEqual((await listed({ name: ['control'], status: ['running'] })).length, 1);
  assert.strictEqual((await listed({ status: ['exited'] })).length, 0);
  await container.stop({ t: 0 });
  assert.deepStrictEqual((await docker.pruneContainers()).ContainersDeleted, [container.id]);
}

async function execs() {
  const container = await run();
  const exec = await container.exec({ Cmd: ['sh', '-c', 'cat; echo err >&2; exit 9'], AttachStdin: true, AttachStdout: true,
    AttachStderr: true, Env: ['A=b'], WorkingDir: '/tmp', User: '1000' });
  const stream = await exec.start({ hijack: true, stdin: true });
  const seen = outputs(stream);
  stream.end('typed\n');
  assert.deepStrictEqual(await seen, ['typed\n', 'err\n']);
  await eventually('it has ended', async () => !(await exec.inspect()).Running);
  assert.strictEqual((await exec.inspect()).ExitCode, 9);

  const tty = await container.exec({ Cmd: ['tty'], Tty: true, AttachStdout: true });
  assert.match(String(await buffer(await tty.start({ Tty: true }))), /^\/dev\/pts/);
  const detached = await container.exec({ Cmd: ['sh', '-c', 'touch /made'] });
  (await detached.start({ Detach: true })).resume();
  await eventually('it was made', async () => (await container.changes()).some(change => change.Path === '/made'));
  await container.remove({ force: true });
}

async function networksAndVolumes() {
  const network = await docker.createNetwork({ Name: 'node-net', Labels: { made: 'here' },
    IPAM: { Config: [{ Subnet: '10.213.8.0/24' }] } });
  const volume = await docker.createVolume({ Name: 'node-data', Labels: { made: 'here' } });
  assert.strictEqual(volume.Name ?? volume.name, 'node-data');
  const one = await run({ name: 'one', HostConfig: { NetworkMode: 'node-net', Binds: ['node-data:/data'] },
    NetworkingConfig: { EndpointsConfig: { 'node-net': { Aliases: ['first'] } } } });
  const two = await run({ name: 'two' });
  await network.connect({ Container: two.id, EndpointConfig: { IPAMConfig: { IPv4Address: '10.213.8.88' }, Aliases: ['second'] } });
  const { Containers } = await network.inspect();
  assert.deepStrictEqual(Object.keys(Containers).sort(), [one.id, two.id].sort());
  const ping = await one.exec({ Cmd: ['ping', '-c', '1', '-W', '5', 'second'], AttachStdout: true });
  const [pong] = await outputs(await ping.start({}));
  assert.match(pong, /10\.213\.8\.88/);
  await assert.rejects(network.remove(), { statusCode: 403 });
  await assert.rejects(docker.getVolume('node-data').remove(), { statusCode: 409 });
  await network.disconnect({ Container: two.id });
  for (const container of [one, two]) await container.remove({ force: true });
  const filters = { label: ['made=here'] };
  assert.strictEqual((await docker.listNetworks({ filters })).length, 1);
  assert.strictEqual((await docker.listVolumes({ filters })).Volumes.length, 1);
  assert.deepStrictEqual((await docker.pruneNetworks({ filters })).NetworksDeleted, ['node-net']);
  await docker.getVolume('node-data').remove();
}

async function events() {
  const since = Math.floor(Date.now() / 1000) - 1;
  const stream = await docker.getEvents({ filters: { type: ['container'], label: ['told=yes'] } });
  const told = [];
  const all = (async () => {
    let rest = '';
    for await (const piece of stream) {
      const lines = (rest + piece).split('\n');
      rest = lines.pop();
      told.push(...lines.map(line => JSON.parse(line).Action));
      if (told.includes('destroy')) return;
    }
  })();
  const container = await run({ name: 'told', Labels: { told: 'yes' } });
  await container.stop({ t: 0 });
  await container.remove();
  await all;
  // Of a stop that does not wait: the signal that asks, and the one that does not.
  assert.deepStrictEqual(told, ['create', 'start', 'kill', 'kill', 'die', 'stop', 'destroy']);
  const past = await docker.getEvents({ since, until: Math.floor(Date.now() / 1000) + 1, filters: { event: ['die'], container: ['told'] } });
  assert.strictEqual(String(await buffer(past)).trim().split('\n').length, 1);
}

(async () => {
  await lives();
  await terminals();
  await controls();
  await execs();
  await networksAndVolumes();
  await events();
  assert.deepStrictEqual(await docker.listContainers({ all: true }), []);
  assert.strictEqual(String(await docker.ping()), 'OK');
  assert.strictEqual((await docker.version()).ApiVersion, '1.50');
  assert.strictEqual((await docker.info()).Containers, 0);
})().catch(error => {
  console.error(error);
  process.exit(1);
});
