// Everything that the gateway needs in Azure, in one resource group: `azd up` reads this file.
targetScope = 'subscription'

@description('Name of the environment, which azd gives; the resources are named by it.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('The Azure region: one that offers Flex Consumption, near the inference service.')
param location string

@description('Object id of whoever deploys, for the right to write the first secrets; empty for nobody.')
param principalId string = ''

@description('The gateway\'s own settings, named as in docs/reference/settings.md. Secrets do not belong here.')
param settings object

@description('The timer of the rotation, an NCRONTAB expression; without rotated services it does nothing.')
param rotationSchedule string = '0 */5 * * * *'

@description('Whether certificates and keys are rotated: the app may then write secrets, not only read them.')
param rotation bool = false

@description('What the host asks of requests to the routes that score: a function key, or nothing.')
@allowed(['function', 'anonymous'])
param authLevel string = 'function'

@description('For anonymous routes: what authenticates callers before the host.')
@allowed(['app-service', 'api-management', 'ingress'])
param authenticatedBy string = 'app-service'

@description('Client id of an Entra ID app registration: callers must sign in with it. Empty for no sign-in.')
param signInClientId string = ''

@description('Origins whose web pages may call the gateway.')
param corsOrigins array = []

@description('Memory of an instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Instances at most.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 100

@description('Requests at the same time that an instance gets before another one is started; Azure\'s default is 1.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int = 64

@description('Instances that always run: without one, the first request after a pause waits for a start.')
@minValue(0)
@maxValue(100)
param alwaysReadyInstances int = 1

@description('A virtual network with private endpoints for vault and storage, and a way to a private service.')
param privateNetwork bool = false

@description('Addresses of the virtual network.')
param networkPrefix string = '10.78.0.0/22'

@description('Resource id of the virtual network in which the inference service is; empty for none.')
param peerNetworkId string = ''

@description('DNS servers that know the names of the private services; empty for Azure\'s own.')
param dnsServers array = []

@description('Whether deleted secrets, and the vault, can only be purged by time. With it, `azd down` keeps the vault\'s name.')
param purgeProtection bool = false

@description('Days for which a deleted secret can be restored.')
@minValue(7)
@maxValue(90)
param softDeleteDays int = 90

@description('Who gets the alerts; empty for nobody.')
param alertEmail string = ''

@description('Milliseconds that 95 % of the scores may take before an alert.')
@minValue(10)
@maxValue(230000)
param alertLatencyMs int = 2000

@description('Days for which the log is kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module network 'network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    name: 'vnet-${token}'
    location: location
    tags: tags
    prefix: networkPrefix
    peerNetworkId: peerNetworkId
    dnsServers: dnsServers
  }
}

module vault 'vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
    deployerPrincipalId: principalId
    rotation: rotation
    purgeProtection: purgeProtection
    softDeleteDays: softDeleteDays
    privateNetwork: privateNetwork
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
    privateNetwork: privateNetwork
  }
}

module endpoints 'endpoints.bicep' = if (privateNetwork) {
  name: 'endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    networkId: privateNetwork ? network.outputs.id : ''
    subnetId: privateNetwork ? network.outputs.endpointSubnetId : ''
    vaultId: vault.outputs.id
    storageId: storage.outputs.id
  }
}

module telemetry 'telemetry.bicep' = {
  name: 'telemetry'
  scope: group
  params: {
    name: token
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
    retentionDays: logRetentionDays
  }
}

module alerts 'alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    name: token
    location: location
    tags: tags
    workspaceId: telemetry.outputs.workspaceId
    alertEmail: alertEmail
    alertLatencyMs: alertLatencyMs
    rotation: rotation
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: 'func-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    vaultUri: vault.outputs.uri
    blobEndpoint: storage.outputs.blobEndpoint
    packageContainer: storage.outputs.packageContainer
    insightsConnectionString: telemetry.outputs.connectionString
    subnetId: privateNetwork ? network.outputs.appSubnetId : ''
    settings: settings
    rotationSchedule: rotationSchedule
    authLevel: authLevel
    authenticatedBy: authenticatedBy
    signInClientId: signInClientId
    corsOrigins: corsOrigins
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    httpConcurrency: httpConcurrency
    alwaysReadyInstances: alwaysReadyInstances
  }
}

@description('The gateway\'s address.')
output GATEWAY_URL string = app.outputs.url

@description('The function app.')
output FUNCTION_APP_NAME string = app.outputs.name

@description('Resource id of the function app, for the subscription to the vault\'s events.')
output FUNCTION_APP_ID string = app.outputs.id

@description('The vault for keys, pins and certificates.')
output KEY_VAULT_NAME string = vault.outputs.name

@description('The topic of the vault\'s events.')
output EVENT_TOPIC_NAME string = vault.outputs.topicName

@description('The resource group.')
output RESOURCE_GROUP_NAME string = group.name

@description('Whether the vault\'s events start the rotation.')
output ROTATION bool = rotation

@description('What to do next: check and store the first secrets. Windows: py -3.13 in place of python3.13.')
output SECRETS_COMMAND string = 'python3.13 -m tools.store_secrets --vault ${vault.outputs.name} --settings infra/main.parameters.json --ask-keys --pins service.pem --write'

@description('After that: read the key that clients send.')
output NEXT_COMMAND string = 'az functionapp keys list --resource-group ${group.name} --name ${app.outputs.name} --query functionKeys.default'
