"""Errors of what the client sent."""

from shared.errors.base import GatewayError


class EmptyBody(GatewayError):
    slug = "empty-body"
    status = 400
    title = "There is no image"
    meaning = "The body, a file in it, or the list of images is empty."
    remedy = "Send the image's bytes, a multipart form with files, or JSON with base64 images."


class LengthRequired(GatewayError):
    slug = "length-required"
    status = 411
    title = "The upload needs a Content-Length"
    meaning = "The upload is chunked: the Functions host passes such a body on empty."
    remedy = "Send the Content-Length header: chunked uploads do not reach the gateway."


class UnsupportedContentType(GatewayError):
    slug = "unsupported-content-type"
    status = 415
    title = "The content type is not supported"
    meaning = "The Content-Type is none of the upload forms, and the body is not an image."
    remedy = "Use image/*, application/octet-stream, multipart/form-data or application/json."


class UnsupportedContentEncoding(GatewayError):
    slug = "unsupported-content-encoding"
    status = 415
    title = "The content encoding is not supported"
    meaning = "The body has a Content-Encoding that the gateway does not decode."
    remedy = "Send the body uncompressed, or with Content-Encoding gzip or deflate."


class MalformedContentEncoding(GatewayError):
    slug = "malformed-content-encoding"
    status = 400
    title = "The body cannot be decompressed"
    meaning = "The body is not in the format that its Content-Encoding names, or is not complete."
    remedy = "Compress the whole body as one stream, or send it without Content-Encoding."


class BodyTooLarge(GatewayError):
    slug = "body-too-large"
    status = 413
    title = "The body is too large"
    meaning = "The body is larger than the gateway's memory allows, or, if compressed, than allowed when decompressed."
    remedy = "Split the request into several, or send the body uncompressed."


class MalformedMultipart(GatewayError):
    slug = "malformed-multipart"
    status = 400
    title = "The multipart form cannot be read"
    meaning = "The body is not well-formed multipart/form-data (RFC 7578)."
    remedy = "Let your HTTP library build the form, and do not set the Content-Type by hand: it needs the boundary."


class PartWithoutFile(GatewayError):
    slug = "part-without-file"
    status = 400
    title = "The form has no image"
    meaning = "No part of the form has a file name, or is an image."
    remedy = "Send each image as a file part, with a file name."


class MalformedJson(GatewayError):
    slug = "malformed-json"
    status = 400
    title = "The JSON cannot be used"
    meaning = "The body is not JSON, or not of the required form."
    remedy = 'Send {"images": [{"b64": "<base64 of the file>"}]}.'


class MalformedBase64(GatewayError):
    slug = "malformed-base64"
    status = 400
    title = "An image is not valid base64"
    meaning = "An image in JSON or in a form is not base64 (RFC 4648)."
    remedy = "Encode the file's bytes in base64, in the standard or the URL-safe alphabet, or as a data: URL."


class ImageAddress(GatewayError):
    slug = "image-address"
    status = 400
    title = "Images are not fetched from addresses"
    meaning = "An image in JSON is a URL; the gateway never fetches one."
    remedy = "Send the image's bytes: as the body, in a form, or in base64."


class InvalidParameter(GatewayError):
    slug = "invalid-parameter"
    status = 400
    title = "A parameter has an invalid value"
    meaning = "A query parameter, a header or a member of the body has a value out of its range."
    remedy = "Correct the value, or leave the parameter out for its default."


class InvalidTensor(GatewayError):
    slug = "invalid-tensor"
    status = 400
    title = "The tensor does not fit the model"
    meaning = "The form, name, datatype, shape or values of what was sent do not fit the model."


class TooManyImages(GatewayError):
    slug = "too-many-images"
    status = 413
    title = "Too many images in one request"
    meaning = "The request holds more images than MAX_IMAGES allows."
    remedy = "Split the upload into several requests."


class ImageTooLarge(GatewayError):
    slug = "image-too-large"
    status = 413
    title = "The image is too large"
    meaning = "The image has more bytes or more pixels than allowed."
    remedy = "Shrink the image before uploading it; the model uses a few hundred pixels a side."


class MessageTooLarge(GatewayError):
    slug = "message-too-large"
    status = 413
    title = "The image is too large for the inference service"
    meaning = "The request is larger than the messages that the service accepts."
    remedy = "Shrink the image before uploading it; the model uses a few hundred pixels a side."


class UnsupportedImage(GatewayError):
    slug = "unsupported-image"
    status = 422
    title = "The file is not an image that can be read"
    meaning = "The bytes are not an image of a supported format."
    remedy = "Send a photograph as JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC."


class DamagedImage(GatewayError):
    slug = "damaged-image"
    status = 422
    title = "The image is damaged"
    meaning = "The format is supported, but the image cannot be decoded."
    remedy = "Upload the file again; it may have been truncated in transit."


class UnknownService(GatewayError):
    slug = "unknown-service"
    status = 404
    title = "There is no such service"
    meaning = "The settings configure no service of that name."


class MetricsOff(GatewayError):
    slug = "metrics-off"
    status = 404
    title = "There are no metrics here"
    meaning = "The settings do not turn the metrics for Prometheus on."
    remedy = "Set METRICS_KEY to a key of 16 characters or more, and have Prometheus send it."


class MetricsKeyRefused(GatewayError):
    slug = "metrics-key-refused"
    status = 401
    title = "The key of the metrics is missing or wrong"
    meaning = "The request has no `Authorization: Bearer` header with the value of METRICS_KEY."
    remedy = "Send `Authorization: Bearer` and the value of the setting METRICS_KEY."


class NoGoldenPhotographs(GatewayError):
    slug = "no-golden-photographs"
    status = 404
    title = "The service has no golden photographs"
    meaning = "The settings name no folder of golden photographs for the service."
    remedy = "Deploy a folder with photographs and expected.json, and name it in the service's setting GOLDEN."


class UnknownVersion(GatewayError):
    slug = "unknown-version"
    status = 404
    title = "There is no such version of the model"
    meaning = "The inference service does not serve the requested version or label of the model."


class MethodNotOffered(GatewayError):
    slug = "method-not-offered"
    status = 501
    title = "The method is not offered"
    meaning = "The inference service, or the gateway, does not offer the requested method."
