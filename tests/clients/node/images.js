// What dockerode is used for with images: builds, archives, registries, failures. REGISTRY is one's address; busybox is there.

const assert = require('node:assert');
const { PassThrough } = require('node:stream');
const { buffer } = require('node:stream/consumers');
const tar = require('tar-stream');
const Docker = require('dockerode');

const docker = new Docker();
const registry = process.env.REGISTRY;

/** All that a stream of lines says. */
function followed(stream) {
  return new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, lines) => (error ? reject(error) : resolve(lines))));
}

function archive(files) {
  const pack = tar.pack();
  for (const [name, text] of Object.entries(files)) pack.entry({ name }, text);
  pack.finalize();
  return pack;
}

async function output(image, command) {
  const out = new PassThrough();
  const all = buffer(out);
  const [{ StatusCode }, container] = await docker.run(image, command, out, { HostConfig: { AutoRemove: false } });
  out.end();
  assert.strictEqual(StatusCode, 0);
  await container.remove();
  return String(await all);
}

async function builds() {
  const Dockerfile = 'FROM busybox\nARG WHO\nCOPY file /file\nRUN echo $WHO >> /file\n';
  const lines = await followed(await docker.buildImage(archive({ Dockerfile, file: 'one\n' }),
    { t: 'node/built:1', buildargs: { WHO: 'two' }, labels: { made: 'here' } }));
  assert(lines.some(line => line.stream === 'Step 3/4 : COPY file /file'), JSON.stringify(lines));
  assert(lines.find(line => line.aux).aux.ID.startsWith('sha256:'));
  assert.match(await output('node/built:1', ['cat', '/file']), /one\r?\ntwo/);
  const failed = await followed(await docker.buildImage(archive({ Dockerfile: 'FROM busybox\nRUN exit 4\n' })));
  assert.match(failed.at(-1).error, /returned a non-zero code: 4/);
}

async function archives() {
  const image = docker.getImage('busybox');
  const { Id } = await image.inspect();
  const saved = await buffer(await image.get());
  await image.remove({ force: true });
  await assert.rejects(image.inspect(), { statusCode: 404 });
  const lines = await followed(await docker.loadImage(saved));
  assert.strictEqual(lines.at(-1).stream, 'Loaded image: busybox:latest\n');
  assert.strictEqual((await image.inspect()).Id, Id);
  assert((await image.history()).length > 0);
}

async function registries() {
  const repo = `${registry}/node/box`;
  await docker.getImage('busybox').tag({ repo, tag: '1' });
  const pushed = await followed(await docker.getImage(repo).push({ tag: '1' }));
  const { Digest } = pushed.find(line => line.aux).aux;
  await docker.getImage(`${repo}:1`).remove();
  const pulled = await followed(await docker.pull(`${repo}:1`));
  assert(pulled.some(line => line.status === `Digest: ${Digest}`), JSON.stringify(pulled));
  const { Descriptor } = await docker.getImage(`${repo}:1`).distribution();
  assert.strictEqual(Descriptor.digest, Digest);
  await assert.rejects(docker.pull(`${registry}/node/nothing:1`), { statusCode: 404 });
}

(async () => {
  await builds();
  await archives();
  await registries();
  const tags = (await docker.listImages()).flatMap(image => image.RepoTags);
  assert(tags.includes('node/built:1'), String(tags));
  await docker.getImage('node/built:1').remove();
  assert((await docker.pruneImages()).SpaceReclaimed >= 0);
})().catch(error => {
  console.error(error);
  process.exit(1);
});
