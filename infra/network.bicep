// A virtual network: one subnet for the app's instances, one for private endpoints, and a way to the service's network.
param name string
param location string
param tags object
param prefix string
param peerNetworkId string
param dnsServers array

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        prefix
      ]
    }
    dhcpOptions: {
      dnsServers: dnsServers
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: cidrSubnet(prefix, 24, 0)
          // Flex Consumption's instances are in a subnet of their own with this delegation.
          delegations: [
            {
              name: 'flex'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(prefix, 24, 1)
        }
      }
    ]
  }
}

// This side of the peering; whoever owns the other network adds the other side.
resource peering 'Microsoft.Network/virtualNetworks/virtualNetworkPeerings@2024-07-01' = if (!empty(peerNetworkId)) {
  parent: network
  name: 'inference-service'
  properties: {
    remoteVirtualNetwork: {
      id: peerNetworkId
    }
    allowVirtualNetworkAccess: true
  }
}

output id string = network.id
output appSubnetId string = network.properties.subnets[0].id
output endpointSubnetId string = network.properties.subnets[1].id
