// Calls the inference service with gRPC for Node.js and the project's .proto files.
//
// stdin: one JSON object: {"protos": folder, "address": "host:port", "roots": PEM, "key": text or null,
//   "calls": [{"encoded": base64} or {"floats": base64 of little-endian float32, "shape": [N, height, width, 3]}, ...]}
// stdout: one JSON array, with a result for each call:
//   {"shape": [...], "scores": [...], "model": {...}} or {"error": {"code": "UNAUTHENTICATED", "details": "..."}}

import { text } from "node:stream/consumers";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const DT_FLOAT = 1;
const DT_STRING = 7;
const DEADLINE_MS = 60_000;

function connect({ protos, address, roots }) {
  const definition = protoLoader.loadSync("protos/serving.proto", { includeDirs: [protos], keepCase: true, longs: Number });
  const { PredictionService } = grpc.loadPackageDefinition(definition).tensorflow.serving;
  return new PredictionService(address, grpc.credentials.createSsl(Buffer.from(roots)));
}

function shapeOf(sizes) {
  return { dim: sizes.map((size) => ({ size })) };
}

function tensorOf({ encoded, floats, shape }) {
  if (encoded !== undefined) {
    return { dtype: DT_STRING, tensor_shape: shapeOf([1]), string_val: [Buffer.from(encoded, "base64")] };
  }
  return { dtype: DT_FLOAT, tensor_shape: shapeOf(shape), tensor_content: Buffer.from(floats, "base64") };
}

function metadataOf(key) {
  const metadata = new grpc.Metadata();
  if (key !== null) {
    metadata.set("authorization", key);
  }
  return metadata;
}

function predict(client, request, metadata) {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + DEADLINE_MS };
    client.Predict(request, metadata, options, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

async function score(client, call, key) {
  try {
    const response = await predict(client, { inputs: { images: tensorOf(call) } }, metadataOf(key));
    const output = response.outputs.output_alias;
    return {
      shape: output.tensor_shape.dim.map(({ size }) => size),
      scores: output.float_val,
      model: { name: response.model_spec.name, version: response.model_spec.version.value },
    };
  } catch (error) {
    return { error: { code: grpc.status[error.code], details: error.details } };
  }
}

const input = JSON.parse(await text(process.stdin));
const client = connect(input);
const results = [];
for (const call of input.calls) {
  results.push(await score(client, call, input.key));
}
client.close();
process.stdout.write(JSON.stringify(results));
