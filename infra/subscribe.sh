#!/bin/sh
# Starts the rotation at once when the vault has a new version of a certificate; azd sets the variables.
set -eu
if [ "${ROTATION:-false}" = "true" ]; then
  az eventgrid system-topic event-subscription create \
    --name new-certificates \
    --resource-group "$RESOURCE_GROUP_NAME" \
    --system-topic-name "$EVENT_TOPIC_NAME" \
    --endpoint-type azurefunction \
    --endpoint "$FUNCTION_APP_ID/functions/vault_event" \
    --included-event-types \
      Microsoft.KeyVault.SecretNewVersionCreated Microsoft.KeyVault.CertificateNewVersionCreated \
    --output none
fi
echo "The gateway: $GATEWAY_URL"
echo "Next, the first secrets: $SECRETS_COMMAND"
echo "Then, the key that clients send: $NEXT_COMMAND"
