# Starts the rotation at once when the vault has a new version of a certificate; azd sets the variables.
$ErrorActionPreference = 'Stop'
if ($env:ROTATION -eq 'true') {
    az eventgrid system-topic event-subscription create `
        --name new-certificates `
        --resource-group $env:RESOURCE_GROUP_NAME `
        --system-topic-name $env:EVENT_TOPIC_NAME `
        --endpoint-type azurefunction `
        --endpoint "$env:FUNCTION_APP_ID/functions/vault_event" `
        --included-event-types `
            Microsoft.KeyVault.SecretNewVersionCreated Microsoft.KeyVault.CertificateNewVersionCreated `
        --output none
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}
Write-Output "The gateway: $env:GATEWAY_URL"
Write-Output "Next, the first secrets: $env:SECRETS_COMMAND"
Write-Output "Then, the key that clients send: $env:NEXT_COMMAND"
